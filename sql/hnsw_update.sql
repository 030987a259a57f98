-- An UPDATE that leaves the vector as it is finds its node by the old version
-- of the row, without a search; whatever kind of UPDATE it is, rows of equal
-- vectors share a node and the index has each row once.
SET statement_timeout = '60s';
CREATE FUNCTION embed(i int) RETURNS vector LANGUAGE sql IMMUTABLE AS
	'SELECT array_agg(hashint4(i * 100 + d) % 1000)::vector FROM generate_series(1, 24) d';

CREATE TABLE items (id int PRIMARY KEY, n int, v vector(24)) WITH (autovacuum_enabled = off);
INSERT INTO items SELECT i, 0, embed(i) FROM generate_series(1, 1000) i;
CREATE INDEX items_n ON items (n);
CREATE INDEX items_v ON items USING omenhnsw (v vector_l2_ops);

-- nodes, rows that the map lacks, and live rows that the index does not return
CREATE FUNCTION state(index regclass, OUT nodes bigint, OUT problems bigint, OUT missing bigint) AS $$
BEGIN
	nodes := (omen_index_stats(index)).nodes;
	problems := omen_tid_map_problems(index);
	SET LOCAL enable_seqscan = off;
	EXECUTE format('SELECT (SELECT count(v) FROM %1$s) - count(DISTINCT id) FROM
		(SELECT id FROM %1$s ORDER BY v <-> embed(0)) one',
		(SELECT indrelid::regclass FROM pg_index WHERE indexrelid = index)) INTO missing;
	SET LOCAL enable_seqscan = on;
END $$ LANGUAGE plpgsql;
SELECT * FROM state('items_v');

-- one row at a time: few pages of the index, where a search reads a dozen
CREATE FUNCTION pages() RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_stat_force_next_flush(), pg_stat_clear_snapshot();
	RETURN (SELECT idx_blks_hit + idx_blks_read FROM pg_statio_user_indexes
		WHERE indexrelname = 'items_v');
END $$;
UPDATE items SET n = 1 WHERE id = 1;
SELECT pg_stat_force_next_flush();
SELECT pages() AS before \gset
UPDATE items SET n = n + 1 WHERE id <= 100;
SELECT pg_stat_force_next_flush();
SELECT pages() - :before < 450 AS few;
SELECT * FROM state('items_v');

-- the row comes by way of a join, a sort, a subquery
UPDATE items SET n = o.n + 1 FROM (SELECT id, n FROM items WHERE id % 3 = 0) o WHERE o.id = items.id;
UPDATE items SET n = n + 1 WHERE ctid IN (SELECT ctid FROM items ORDER BY n, id LIMIT 50);
WITH one AS (UPDATE items SET n = n + 1 WHERE id % 7 = 0 RETURNING id)
	UPDATE items SET n = n + 1 FROM one WHERE items.id = one.id + 1 AND items.id % 7 <> 0;
INSERT INTO items SELECT id, 5, v FROM items WHERE id % 11 = 0 ON CONFLICT (id) DO UPDATE SET n = excluded.n;
MERGE INTO items USING (SELECT generate_series(1, 100) id) s ON items.id = s.id
	WHEN MATCHED THEN UPDATE SET n = n + 1;
BEGIN;
UPDATE items SET n = n + 1 WHERE id < 200;
SAVEPOINT one;
UPDATE items SET n = n + 1 WHERE id < 300;
ROLLBACK TO one;
COMMIT;
SELECT * FROM state('items_v');

-- the vector changes for some of the rows, to NULL for others, and back
UPDATE items SET n = n + 1, v = CASE id % 3 WHEN 0 THEN v WHEN 1 THEN embed(id + 5000) END WHERE id <= 300;
SELECT * FROM state('items_v');
UPDATE items SET n = n + 1, v = embed(id) WHERE id <= 300;
SELECT * FROM state('items_v');
UPDATE items SET n = n + 1;
SELECT * FROM state('items_v');

-- triggers: the vector is another one than the UPDATE says, and statements
-- within the statement
CREATE FUNCTION before_update() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF new.id % 10 = 0 THEN
		new.v := embed(new.id + 7000);
	ELSIF new.id % 10 = 1 THEN
		UPDATE items SET n = n + 1 WHERE id = new.id + 500 AND id > 500;
		INSERT INTO items VALUES (new.id + 501, 0, NULL) ON CONFLICT (id) DO UPDATE SET n = items.n + 1;
	END IF;
	RETURN new;
END $$;
CREATE TRIGGER before_update BEFORE UPDATE ON items FOR EACH ROW
	WHEN (new.id <= 200) EXECUTE FUNCTION before_update();
CREATE FUNCTION after_update() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	UPDATE items SET n = n + 1 WHERE id = new.id + 600;
	INSERT INTO items VALUES (new.id + 700, 0, NULL) ON CONFLICT (id) DO UPDATE SET n = items.n + 1;
	RETURN NULL;
END $$;
CREATE TRIGGER after_update AFTER UPDATE ON items FOR EACH ROW
	WHEN (new.id <= 100) EXECUTE FUNCTION after_update();
UPDATE items SET n = n + 1 WHERE id <= 200;
SELECT * FROM state('items_v');

-- what the map still says of rows that vacuum has removed misleads nobody
DELETE FROM items WHERE id % 4 = 0;
VACUUM items;
INSERT INTO items SELECT i, 0, embed(i + 9000) FROM generate_series(2000, 2300) i;
UPDATE items SET n = n + 1 WHERE id > 200;
SELECT problems, missing FROM state('items_v');
DROP TABLE items;

-- partitions, and rows that move from one to another
CREATE TABLE parted (id int, n int, v vector(24)) PARTITION BY RANGE (n);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (10);
CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM (10) TO (20);
CREATE INDEX ON parted (n);
INSERT INTO parted SELECT i, i % 20, embed(i % 50) FROM generate_series(1, 200) i;
CREATE INDEX ON parted USING omenhnsw (v vector_l2_ops);
UPDATE parted SET n = n + 1 WHERE n < 9 OR n > 10 AND n < 19;
UPDATE parted SET n = (n + 10) % 20;
SELECT * FROM state('parted_1_v_idx');
SELECT * FROM state('parted_2_v_idx');
DROP TABLE parted;
DROP FUNCTION state, pages, embed, before_update, after_update;
