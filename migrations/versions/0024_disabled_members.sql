create or replace function lockstep_quorum(of_app text, of_quorum text) returns jsonb language sql stable as $$
    select jsonb_build_object('id', q.id, 'kind', 'key_quorum', 'threshold', q.threshold,
        'keys', (select coalesce(jsonb_agg(lockstep_key(m.app_id, m.key_id) order by m.key_id), '[]'::jsonb)
            from key_quorum_members m where m.app_id = q.app_id and m.quorum_id = q.id and m.key_id is not null),
        'users', (select coalesce(jsonb_agg(m.user_id order by m.user_id), '[]'::jsonb)
            from key_quorum_members m where m.app_id = q.app_id and m.quorum_id = q.id and m.user_id is not null),
        'disabled', (select coalesce(jsonb_agg(u.id order by u.id), '[]'::jsonb)
            from key_quorum_members m join users u on u.app_id = m.app_id and u.id = m.user_id
            where m.app_id = q.app_id and m.quorum_id = q.id and u.status = 'disabled'),
        'quorums', '[]'::jsonb)
    from key_quorums q where q.app_id = of_app and q.id = of_quorum
$$;
