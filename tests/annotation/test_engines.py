"""Annotation on engines for clusters, with local workers.

The tests of Ray and Spark take most of a minute each, so they are marked as slow.
"""

import sys

import pandas as pd
import pytest
from samples import SENTENCES, TEXTS

from bigru_tagger import Annotator

ROWS = pd.DataFrame({"id": range(24), "text": [TEXTS[2]] * 12 + [TEXTS[1]] * 12})


def check(rows):
    rows = sorted(rows, key=lambda row: row["id"])
    assert [row["id"] for row in rows] == list(range(24))
    for row in rows:
        (text, _, _, tags) = SENTENCES[2 if row["id"] < 12 else 1]
        assert row["text"] == text
        assert list(row["tags"]) == tags.split()
        expected = [] if row["id"] < 12 else [(12, 25, "LOC")]
        assert list(zip(row["start"], row["end"], row["label"], strict=True)) == expected
        assert all(0.5 < p <= 1 for p in row["confidence"])


@pytest.mark.parametrize(
    "scheduler", ["threads", pytest.param("processes", marks=pytest.mark.slow)]
)
def test_dask(model, scheduler):
    dask = pytest.importorskip("dask.dataframe")
    data = dask.from_pandas(ROWS, npartitions=4)
    annotator = Annotator(model)
    found = data.map_partitions(annotator, meta=annotator(data._meta))
    check(found.compute(scheduler=scheduler, num_workers=2).to_dict("records"))


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # of the engine itself
def test_ray(model):
    ray = pytest.importorskip("ray")
    ray.init(num_cpus=3, include_dashboard=False, log_to_driver=False)
    try:
        data = ray.data.from_pandas(ROWS).repartition(4)
        check(data.map_batches(Annotator(model), batch_size=6).take_all())
        actors = data.map_batches(
            Annotator, fn_constructor_args=[str(model)], concurrency=2, batch_size=6
        )
        check(actors.take_all())
    finally:
        ray.shutdown()


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # of the engine itself
def test_spark(model, monkeypatch):
    sql = pytest.importorskip("pyspark.sql")
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    spark = (
        sql.SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .getOrCreate()
    )
    try:
        data = spark.createDataFrame(ROWS).repartition(4)
        annotator = Annotator(model)
        found = data.mapInPandas(annotator, annotator.spark_schema(data.schema))
        check(row.asDict() for row in found.collect())
    finally:
        spark.stop()
