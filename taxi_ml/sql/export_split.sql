EXPORT DATA OPTIONS (uri = '${uri}', overwrite = true, ${options}) AS
-- No column is ever empty and no float looks like an integer, so that every file and split infers the same types:
-- 0 is an unknown integer, -1.0 an unknown float, all of which are 0 or more. Parquet gets the numbers of the texts
-- that a CSV gets, so that both make the same examples.
-- A sample is taken by a fingerprint of its own: whether a trip is in it does not depend on its eval bucket, and a larger
-- sample holds every trip of a smaller one. Its size is that of the share, give or take chance; exactly so many trips
-- would take a sort of all of them on one worker.
SELECT
  trip_id,
  CAST(IFNULL(TripStartYear, 0) AS INT64) AS TripStartYear,
  CAST(IFNULL(TripStartMonth, 0) AS INT64) AS TripStartMonth,
  CAST(IFNULL(TripStartDay, 0) AS INT64) AS TripStartDay,
  CAST(IFNULL(TripStartHour, 0) AS INT64) AS TripStartHour,
  CAST(IFNULL(TripStartMinute, 0) AS INT64) AS TripStartMinute,
  CAST(IFNULL(pickup_census_tract, 0) AS INT64) AS pickup_census_tract,
  CAST(IFNULL(dropoff_census_tract, 0) AS INT64) AS dropoff_census_tract,
  CAST(FORMAT('%.6f', fare) AS ${float}) AS fare,
  CAST(FORMAT('%.6f', IFNULL(historical_tripDuration, -1.0)) AS ${float}) AS historical_tripDuration,
  CAST(FORMAT('%.6f', IFNULL(histOneWeek_tripDuration, -1.0)) AS ${float}) AS histOneWeek_tripDuration,
  CAST(FORMAT('%.6f', IFNULL(historical_tripDistance, -1.0)) AS ${float}) AS historical_tripDistance,
  CAST(FORMAT('%.6f', IFNULL(histOneWeek_tripDistance, -1.0)) AS ${float}) AS histOneWeek_tripDistance,
  CAST(FORMAT('%.6f', IFNULL(rawDistance, -1.0)) AS ${float}) AS rawDistance,
  UNIX_SECONDS(trip_start_timestamp) AS trip_start_timestamp
FROM `${table}`
WHERE
  trip_start_timestamp >= @split_start
  AND trip_start_timestamp < @split_end
  AND ABS(MOD(FARM_FINGERPRINT(trip_id), 100)) >= @first_bucket
  AND ABS(MOD(FARM_FINGERPRINT(trip_id), 100)) <= @last_bucket
  AND ABS(MOD(FARM_FINGERPRINT(CONCAT('sample ', trip_id)), ${sample_buckets})) < @sampled_buckets
