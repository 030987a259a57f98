-- Distances between bit strings

SELECT a <~> b AS hamming, a <%> b AS jaccard
	FROM (VALUES
		(B'1100', B'1010'),
		(B'1111', B'1111'),
		(B'1111', B'0000'),
		(B'0000', B'0000'),
		(B'', B'')) AS pairs (a, b);
SELECT hamming_distance(B'101', B'100'), jaccard_distance(B'101', B'100');
SELECT B'1' <~> B'11';
SELECT B'1' <%> B'11';

-- every length, also where the last byte is not full
SELECT count(*) FROM generate_series(1, 700) n
	WHERE repeat('1', n)::bit varying <~> repeat('0', n)::bit varying <> n
	OR repeat('1', n)::bit varying <%> repeat('1', n)::bit varying <> 0;
