"""tantivy, the library below ParadeDB's pg_search, in process.

It gets the lexemes that PostgreSQL made of the documents, each as often as it has
positions, separated by spaces; so both have the same terms and frequencies. Its
documents are as long in another code: a byte that stands for several lengths,
so that scores, and sometimes the order of the best, differ a little.
"""
import os
import shutil
import time

import tantivy

HEAP_BYTES = 512 << 20
BLOCKS_AT_ONCE = 4000
DOCUMENTS = """
SELECT id, (SELECT string_agg(repeat(lexeme || ' ', cardinality(positions)), '')
    FROM unnest(body)) FROM {table}
WHERE ctid >= '({start},0)' AND ctid < '({end},0)'
"""


class Tantivy:
    name = "tantivy"

    def __init__(self, folder):
        self._folder = folder
        self._index = self._searcher = None

    def build(self, db, table):
        """From the table's documents; CPU seconds of tantivy alone, and bytes."""
        shutil.rmtree(self._folder, ignore_errors=True)
        os.makedirs(self._folder)
        schema = tantivy.SchemaBuilder()
        schema.add_unsigned_field("id", stored=True)
        schema.add_text_field("body", tokenizer_name="whitespace",
                              index_option="freq")
        self._index = tantivy.Index(schema.build(), path=self._folder)
        writer = self._index.writer(HEAP_BYTES, 1)
        blocks = int(db.value(f"SELECT pg_relation_size('{table}') / 8192"))
        cpu = 0
        for start in range(0, blocks, BLOCKS_AT_ONCE):
            rows = db.query(DOCUMENTS.format(table=table, start=start,
                                             end=start + BLOCKS_AT_ONCE))
            before = time.process_time()
            for number, body in rows:
                writer.add_document(tantivy.Document(
                    id=int(number), body=[body or ""]))
            cpu += time.process_time() - before
        before = time.process_time()
        writer.commit()
        writer.wait_merging_threads()
        cpu += time.process_time() - before
        self._index.reload()
        self._searcher = self._index.searcher()
        return {"cpu_s": cpu, "bytes": sum(
            os.path.getsize(os.path.join(self._folder, name))
            for name in os.listdir(self._folder))}

    def query(self, lexemes):
        """Any of them."""
        return tantivy.Query.boolean_query([
            (tantivy.Occur.Should, tantivy.Query.term_query(
                self._index.schema, "body", lexeme, "freq"))
            for lexeme in lexemes])

    def search(self, queries, k=10):
        """Mean CPU time in us; without a count, which would read all postings."""
        made = [self.query(one) for one in queries]
        before = time.process_time_ns()
        for one in made:
            self._searcher.search(one, k, count=False)
        return (time.process_time_ns() - before) / len(made) / 1e3

    def ids(self, lexemes, k=10):
        found = self._searcher.search(self.query(lexemes), k, count=False)
        return [self._searcher.doc(address)["id"][0]
                for _, address in found.hits]
