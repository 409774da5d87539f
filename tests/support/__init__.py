"""What several tests share; fixtures themselves stand in conftest.py."""
