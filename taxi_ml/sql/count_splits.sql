-- One row: the trips of each split, as `export_split.sql` selects them.
SELECT
  COUNTIF(trip_start_timestamp < @test_start AND bucket >= @eval_percent) AS train,
  COUNTIF(trip_start_timestamp < @test_start AND bucket < @eval_percent) AS eval,
  COUNTIF(trip_start_timestamp >= @test_start) AS test
FROM (
  SELECT trip_start_timestamp, ABS(MOD(FARM_FINGERPRINT(trip_id), 100)) AS bucket
  FROM `${table}`
)
