EXPORT DATA OPTIONS (uri = '${uri}', overwrite = true, ${options}) AS
-- No column is ever empty and no float looks like an integer, so that every file and split infers the same types:
-- export_integer.sql writes 0 for an unknown integer and export_float.sql -1.0 for an unknown float, since no value is
-- negative. Parquet gets the numbers that the CSV has as strings, so that both make the same examples.
-- The sample has a fingerprint of its own: whether a trip is in it does not depend on its eval bucket, and a larger
-- sample holds every trip of a smaller one. Its size is approximately the share; an exact number of trips would take
-- a sort of all of them on one worker.
SELECT
  trip_id,
  ${columns},
  UNIX_SECONDS(trip_start_timestamp) AS trip_start_timestamp
FROM `${table}`
WHERE
  trip_start_timestamp >= @split_start
  AND trip_start_timestamp < @split_end
  AND ABS(MOD(FARM_FINGERPRINT(trip_id), 100)) >= @first_bucket
  AND ABS(MOD(FARM_FINGERPRINT(trip_id), 100)) <= @last_bucket
  AND ABS(MOD(FARM_FINGERPRINT(CONCAT('sample ', trip_id)), ${sample_buckets})) < @sampled_buckets
