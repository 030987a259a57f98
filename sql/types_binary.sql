-- Binary input and output

-- the wire format, big-endian: int16 dimensions, int16 unused, elements;
-- sparse: int32 dimensions, elements, unused; indices from 0; values
SELECT vector_send('[1,-2]'), halfvec_send('[1,-2]'), sparsevec_send('{2:1,3:-2}/5');

-- receive one value of a type by way of COPY; the error, or what came in
CREATE FUNCTION receive(type text, field bytea) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	file bytea;
	result text;
BEGIN
	file := '\x5047434f50590aff0d0a0000000000000000000001'::bytea
		|| int4send(length(field)) || field || '\xffff'::bytea;
	EXECUTE format('CREATE TEMP TABLE received (v %s)', type);
	EXECUTE format('COPY received FROM PROGRAM %L (FORMAT binary)', 'printf ''' || (
		SELECT string_agg('\' || byte / 64 || byte / 8 % 8 || byte % 8, '' ORDER BY i)
		FROM (SELECT i, get_byte(file, i) AS byte FROM generate_series(0, length(file) - 1) i) b) || '''');
	SELECT v::text INTO result FROM received;
	DROP TABLE received;
	RETURN result;
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ': ' || SQLERRM;
END
$$;

-- vector
SELECT receive('vector', vector_send('[1.5,-2]'));
SELECT receive('vector(3)', vector_send('[1.5,-2]'));
SELECT what, receive('vector', field) FROM (VALUES
	('no elements', '\x00000000'::bytea),
	('negative dimensions', '\xffff0000'),
	('too many dimensions', '\x3e810000'),
	('unused not zero', '\x0001000100000000'),
	('not a number', '\x000100007fc00000'),
	('infinity', '\x000100007f800000'),
	('minus infinity', '\x00010000ff800000'),
	('element missing', '\x000200003f800000'),
	('element cut off', '\x000100003f80'),
	('something behind', '\x000100003f80000000'),
	('header cut off', '\x0001'),
	('empty', '\x')) AS t (what, field);

-- halfvec
SELECT receive('halfvec', halfvec_send('[1.5,-2]'));
SELECT what, receive('halfvec', field) FROM (VALUES
	('no elements', '\x00000000'::bytea),
	('too many dimensions', '\x3e810000'),
	('unused not zero', '\x0001ffff0000'),
	('not a number', '\x000100007e00'),
	('signalling not a number', '\x00010000fc01'),
	('infinity', '\x000100007c00'),
	('element missing', '\x000200003c00'),
	('something behind', '\x000100003c0000')) AS t (what, field);

-- sparsevec
SELECT receive('sparsevec', sparsevec_send('{1:1.5,3:-2}/3'));
SELECT receive('sparsevec(4)', sparsevec_send('{1:1.5,3:-2}/3'));
SELECT what, receive('sparsevec', field) FROM (VALUES
	('no elements', '\x000000030000000000000000'::bytea),
	('no dimensions', '\x000000000000000000000000'),
	('too many dimensions', '\x3b9aca010000000000000000'),
	('negative number of elements', '\x00000003ffffffff00000000'),
	('more elements than dimensions', '\x000000010000000200000000'),
	('too many elements', '\x00ffffff00003e8100000000'),
	('unused not zero', '\x000000030000000000000001'),
	('index at the dimensions', '\x000000030000000100000000000000033f800000'),
	('negative index', '\x000000030000000100000000ffffffff3f800000'),
	('indices out of order', '\x00000003000000020000000000000001000000003f8000003f800000'),
	('index twice', '\x00000003000000020000000000000001000000013f8000003f800000'),
	('zero', '\x0000000300000001000000000000000000000000'),
	('minus zero', '\x0000000300000001000000000000000080000000'),
	('not a number', '\x000000030000000100000000000000007fc00000'),
	('infinity', '\x000000030000000100000000000000007f800000'),
	('value missing', '\x0000000300000001000000000000000000'),
	('something behind', '\x000000030000000000000000ff')) AS t (what, field);

-- bm25query: index, k1, b, and a tsquery's own form: int32 items, then these
SELECT receive('bm25query', bm25query_send('fox & !dog {k1=2}'));
SELECT what, receive('bm25query', field) FROM (VALUES
	('no words', '\x00000000bf800000bf80000000000000'::bytea),
	('more items than bytes', '\x00000000bf800000bf800000ffffffff'),
	('item missing', '\x00000000bf800000bf800000000000010100'),
	('k1 out of range', '\x00000000c0000000bf80000000000000'),
	('no index', '\x00000001bf800000bf80000000000000'),
	('header cut off', '\x00000000bf80'),
	('something behind', '\x00000000bf800000bf80000000000000ff')) AS t (what, field);
DROP FUNCTION receive(text, bytea);

-- COPY out and in again
CREATE TABLE sent (v vector(3), h halfvec, s sparsevec, b bit(9));
INSERT INTO sent VALUES ('[1,2,3]', '[1,2]', '{2:1}/9', B'101010101'),
	('[1e-45,-3e38,0]', '[65504,6e-8]', '{}/1', B'000000000'), (NULL, NULL, NULL, NULL);
INSERT INTO sent (h, s) SELECT array_fill(0.5, ARRAY[16000])::halfvec,
	array_fill(0.5, ARRAY[16000])::sparsevec;
CREATE TABLE received (LIKE sent);
\copy sent TO PROGRAM 'cat >$PG_ABS_BUILDDIR/results/types_binary.data' (FORMAT binary)
\copy received FROM PROGRAM 'cat $PG_ABS_BUILDDIR/results/types_binary.data' (FORMAT binary)
SELECT count(*) FROM (TABLE sent EXCEPT ALL TABLE received) AS lost;
TRUNCATE received;
\copy sent TO PROGRAM 'cat >$PG_ABS_BUILDDIR/results/types_binary.data'
\copy received FROM PROGRAM 'cat $PG_ABS_BUILDDIR/results/types_binary.data'
SELECT count(*) FROM (TABLE sent EXCEPT ALL TABLE received) AS lost;
DROP TABLE sent, received;
