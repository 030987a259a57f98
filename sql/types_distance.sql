-- Distances of dense vectors

SELECT a <-> b AS l2, a <#> b AS ip, a <=> b AS cosine, a <+> b AS l1
	FROM (VALUES
		('[1,2,3]'::vector, '[4,6,3]'::vector),
		('[1,0]', '[0,1]'),
		('[1,1]', '[-2,-2]'),
		('[1,1]', '[0,0]'),
		('[3e38]', '[-3e38]')) AS pairs (a, b);
SELECT vector_spherical_distance('[1,0]', '[0,1]'), vector_spherical_distance('[1,0]', '[-1,0]'),
	halfvec_spherical_distance('[1,0]', '[2,0]');
SELECT vector_l2_squared_distance('[1,2]', '[4,6]'), halfvec_l2_squared_distance('[1,2]', '[4,6]'),
	vector_negative_inner_product('[1,2]', '[3,4]'), halfvec_negative_inner_product('[1,2]', '[3,4]');

SELECT '[1,2]'::vector <-> '[1]';
SELECT '[1,2]'::vector <#> '[1]';
SELECT '[1,2]'::vector <=> '[1]';
SELECT '[1,2]'::vector <+> '[1]';
SELECT '[1,2]'::halfvec <-> '[1]';

-- rounding never makes the cosine distance of parallel vectors leave [0, 2]
SELECT count(*) FILTER (WHERE NOT v <=> v BETWEEN 0 AND 1e-6) AS same,
	count(*) FILTER (WHERE NOT v <=> w BETWEEN 2 - 1e-6 AND 2) AS opposite,
	count(*) FILTER (WHERE NOT v::halfvec <=> v::halfvec BETWEEN 0 AND 1e-6) AS half
	FROM (SELECT array_agg(0.1 + (i * 7919 % 1000) / 997.0)::vector AS v,
			array_agg(-0.3 - 3 * (i * 7919 % 1000) / 997.0)::vector AS w
		FROM generate_series(1, 4096) d, generate_series(1, d) i
		WHERE d <= 130 OR d % 331 = 0
		GROUP BY d) AS vectors;

-- NULL gives NULL, and NaN sorts behind every number but before NULL
SELECT v, v <=> '[1,0]' AS distance
	FROM (VALUES ('[0,0]'::vector), ('[-1,0]'), (NULL), ('[2,0]')) AS t (v)
	ORDER BY v <=> '[1,0]';
SELECT '[1]'::vector <-> NULL IS NULL, NULL <#> '[1]'::halfvec IS NULL;

-- every SIMD level gives the same, up to rounding; those that this machine
-- lacks are refused
CREATE FUNCTION distances() RETURNS double precision[] LANGUAGE sql AS $$
	SELECT array_agg(d ORDER BY n, k)
	FROM generate_series(1, 130) n,
		LATERAL (SELECT array_agg(sin(i) + 2)::vector AS a, array_agg(cos(i * n))::vector AS b
			FROM generate_series(1, n) i) v,
		LATERAL (VALUES (1, a <-> b), (2, a <#> b), (3, a <=> b), (4, a <+> b),
			(5, a::halfvec <-> b::halfvec), (6, a::halfvec <#> b::halfvec),
			(7, a::halfvec <=> b::halfvec), (8, a::halfvec <+> b::halfvec),
			(9, binary_quantize(a) <~> binary_quantize(b)),
			(10, binary_quantize(a) <%> binary_quantize(b))) k (k, d)
$$;
CREATE TABLE by_level (level text, d double precision[]);
DO $$
DECLARE
	level text;
BEGIN
	FOREACH level IN ARRAY ARRAY['generic', 'neon', 'avx2', 'avx512', 'auto'] LOOP
		BEGIN
			PERFORM set_config('omendb.simd', level, false);
			INSERT INTO by_level VALUES (level, distances());
		EXCEPTION WHEN invalid_parameter_value THEN
			NULL;
		END;
	END LOOP;
END
$$;
SELECT count(*) > 1 AS several, bool_and(same) AS same
	FROM by_level l,
		LATERAL (SELECT bool_and(abs(x - y) <= 1e-5 * (1 + abs(y))) AS same
			FROM unnest(l.d, (SELECT d FROM by_level WHERE level = 'generic')) AS t (x, y)) s;
SHOW omendb.simd;
DROP TABLE by_level;
DROP FUNCTION distances();
