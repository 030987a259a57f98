-- omen_index_stats, omen_prewarm: what an index is made of
-- (temporary: no other session's snapshot keeps vacuum from removing rows)
CREATE TEMP TABLE items (id int, v vector(8));
INSERT INTO items SELECT i, ARRAY(SELECT sin(i * g)::real FROM generate_series(1, 8) g)::vector FROM generate_series(1, 1000) i;
INSERT INTO items SELECT 2000 + i, '[1,1,1,1,1,1,1,1]' FROM generate_series(1, 300) i;
INSERT INTO items VALUES (0, NULL);
CREATE INDEX items_idx ON items USING omenhnsw (v vector_l2_ops) WITH (m = 8, ef_construction = 32);

SELECT version > 1 AS version, rows, nodes, deleted_nodes, list_slots > 0 AS lists, slots_per_page,
	m, ef_construction, quantizer, dims, metric FROM omen_index_stats('items_idx');
SELECT pages = pg_relation_size('items_idx') / 8192 AS pages,
	pages = meta_pages + node_pages + chain_pages + entry_pages + free_pages + tid_map_pages + other_pages + invalid_pages AS kinds,
	meta_pages, chain_pages, tid_map_pages >= 3 AS map, entry_pages > 0 AS entries, other_pages > 0 AS mean, free_pages, invalid_pages,
	abs(bytes_per_row - pg_relation_size('items_idx') / 1300.0) < 0.001 AS bytes,
	links_mean BETWEEN 4 AND 16 AS links,
	(node_pages * slots_per_page) = nodes + deleted_nodes + list_slots + free_slots AS slots
FROM omen_index_stats('items_idx');

-- deleted rows, before and after vacuum
DELETE FROM items WHERE id % 2 = 0;
SELECT rows, nodes, deleted_nodes FROM omen_index_stats('items_idx');
VACUUM (INDEX_CLEANUP on) items;
SELECT rows, nodes, deleted_nodes, free_slots > 400 AS free FROM omen_index_stats('items_idx');

-- an empty index
CREATE TABLE none (v vector(3));
CREATE INDEX none_idx ON none USING omenhnsw (v vector_l2_ops);
SELECT rows, nodes, pages, meta_pages, bytes_per_row, links_mean FROM omen_index_stats('none_idx');
SELECT omen_prewarm('none_idx');

-- every type, metric and quantizer
CREATE TABLE kinds (v vector(2100), h halfvec(500), s sparsevec(50), b bit(64));
INSERT INTO kinds SELECT array_fill(i, ARRAY[2100])::vector, array_fill(i, ARRAY[500])::vector::halfvec,
	('{1:' || i || '}/50')::sparsevec, i::bit(64) FROM generate_series(1, 20) i;
CREATE INDEX ON kinds USING omenhnsw (v vector_l1_ops);
CREATE INDEX ON kinds USING omenhnsw (v vector_cosine_ops);
CREATE INDEX ON kinds USING hnsw (h halfvec_ip_ops) WITH (quantizer = sq8);
CREATE INDEX ON kinds USING omenhnsw (h halfvec_l2_ops) WITH (quantizer = pq);
CREATE INDEX ON kinds USING omenhnsw (s sparsevec_l2_ops);
CREATE INDEX ON kinds USING omenhnsw (b bit_hamming_ops);
CREATE INDEX ON kinds USING omenhnsw (b bit_jaccard_ops);
SELECT i.indexrelid::regclass AS index, rows, nodes, chain_pages > 0 AS chains, quantizer, dims, metric
FROM pg_index i, omen_index_stats(i.indexrelid) WHERE indrelid = 'kinds'::regclass ORDER BY 1::text COLLATE "C";

-- every page is read
SELECT omen_prewarm('items_idx') = pg_relation_size('items_idx') / 8192 AS all;
SELECT omen_index_stats(NULL), omen_prewarm(NULL);

-- what is not a valid index of ours
-- an index of text: what there is of it
CREATE TABLE texts (t tsvector) WITH (autovacuum_enabled = off);
INSERT INTO texts SELECT to_tsvector('simple', 'word ' || i) FROM generate_series(1, 1000) i;
CREATE INDEX texts_idx ON texts USING omenbm25 (t);
INSERT INTO texts SELECT to_tsvector('simple', 'more ' || i) FROM generate_series(1, 10) i;
DELETE FROM texts WHERE t @@ '5';
VACUUM texts;
SELECT version, rows, nodes, pages = meta_pages + free_pages + other_pages AS whole, pages = pg_relation_size('texts_idx') / 8192 AS all,
	meta_pages, other_pages > 5 AS others, invalid_pages, round(bytes_per_row) BETWEEN 10 AND 500 AS size, dims FROM omen_index_stats('texts_idx');
SELECT omen_prewarm('texts_idx') = pg_relation_size('texts_idx') / 8192 AS all;
CREATE TABLE parts (v vector(3)) PARTITION BY LIST (vector_dims(v));
CREATE INDEX parts_idx ON parts USING omenhnsw (v vector_l2_ops);
CREATE INDEX btree_idx ON items (id);
CREATE TABLE broken (v vector(3));
INSERT INTO broken VALUES ('[1,2,3]');
CREATE FUNCTION fails(vector) RETURNS vector(3) LANGUAGE plpgsql IMMUTABLE AS
	'BEGIN IF current_setting(''omen.fails'') = ''on'' THEN RAISE EXCEPTION ''fails''; END IF; RETURN $1; END';
SET omen.fails = 'on';
CREATE INDEX CONCURRENTLY broken_idx ON broken USING omenhnsw ((fails(v)::vector(3)) vector_l2_ops);
CREATE FUNCTION refuses(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	hint text;
	detail text;
BEGIN
	EXECUTE statement;
	RETURN 'accepted';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT, detail = PG_EXCEPTION_DETAIL;
	RETURN concat_ws(' / ', SQLSTATE || ' ' || SQLERRM, nullif(detail, ''), nullif(hint, ''));
END $$;
SELECT f, refuses(format('SELECT %s(%L)', f, r))
FROM unnest(ARRAY['omen_index_stats', 'omen_prewarm', 'omen_recall']) f, unnest(ARRAY['items', 'btree_idx', 'parts_idx', 'broken_idx', 'texts_idx']) r;
SELECT refuses('SELECT omen_index_stats(1::oid)');

-- who may ask
CREATE ROLE omen_nobody;
CREATE ROLE omen_monitor IN ROLE pg_monitor;
CREATE ROLE omen_reader;
GRANT SELECT ON items TO omen_reader;
SET ROLE omen_nobody;
SELECT refuses('SELECT omen_index_stats(''items_idx'')');
SELECT refuses('SELECT omen_prewarm(''items_idx'')');
SELECT refuses('SELECT omen_recall(''items_idx'')');
SET ROLE omen_monitor;
SELECT refuses('SELECT omen_index_stats(''items_idx'')');
SELECT refuses('SELECT omen_prewarm(''items_idx'')');
SET ROLE omen_reader;
SELECT refuses('SELECT omen_index_stats(''items_idx'')');
SELECT refuses('SELECT omen_prewarm(''items_idx'')');
SELECT refuses('SELECT omen_recall(''items_idx'', 3, 3)');
RESET ROLE;

REVOKE ALL ON items FROM omen_reader;
DROP ROLE omen_nobody, omen_monitor, omen_reader;
DROP TABLE items, none, kinds, parts, broken, texts;
DROP FUNCTION refuses, fails;
