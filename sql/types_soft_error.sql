-- Malformed text is reported without an error where the server asks for that,
-- which it does from version 16 on

DO $$
DECLARE
	input record;
	message text;
BEGIN
	IF current_setting('server_version_num')::int < 160000 THEN
		RETURN;
	END IF;
	FOR input IN SELECT * FROM (VALUES
		('vector', ''), ('vector', '[]'), ('vector', '[1'), ('vector', '[x]'), ('vector', '[1]1'),
		('vector', '[nan]'), ('vector', '[inf]'), ('vector', '[1e39]'), ('vector(2)', '[1]'),
		('vector', '[' || repeat('1,', 16000) || '1]'),
		('halfvec', '[65520]'), ('halfvec', '[1,]'), ('halfvec(1)', '[1,2]'),
		('sparsevec', ''), ('sparsevec', '{1:1}'), ('sparsevec', '{1:x}/1'), ('sparsevec', '{1}/1'),
		('sparsevec', '{1:1,1:2}/3'), ('sparsevec', '{4:1}/3'), ('sparsevec', '{1:1e-60}/3'),
		('sparsevec', '{}/0'), ('sparsevec(2)', '{}/3'), ('sparsevec', '{}/3x'),
		('sparsevec', '{' || repeat('1:1,', 16000) || '1:1}/3')) AS t (type, value)
	LOOP
		EXECUTE format('SELECT message FROM pg_input_error_info(%L, %L)', input.value, input.type)
			INTO message;
		IF message IS NULL THEN
			RAISE WARNING '% accepted as %', left(input.value, 20), input.type;
		END IF;
	END LOOP;
	FOR input IN SELECT * FROM (VALUES
		('vector', '[1,2]'), ('halfvec', '[1,2]'), ('sparsevec', '{1:1}/2')) AS t (type, value)
	LOOP
		EXECUTE format('SELECT message FROM pg_input_error_info(%L, %L)', input.value, input.type)
			INTO message;
		IF message IS NOT NULL THEN
			RAISE WARNING '% refused as %: %', input.value, input.type, message;
		END IF;
	END LOOP;
END
$$;
