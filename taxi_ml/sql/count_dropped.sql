-- One row: the trips of the window, those that the dataset keeps, and those left out for each reason. One trip of each
-- id is kept.
WITH trips AS (
${trips}
)
SELECT
  COUNT(*) AS scanned,
  COUNT(DISTINCT IF(dropped IS NULL, trip_id, NULL)) AS kept,
  COUNT(DISTINCT IF(dropped IS NULL AND impossible_coordinates, trip_id, NULL)) AS impossible_coordinates,
  COUNTIF(dropped = 'missing_id') AS missing_id,
  COUNTIF(dropped = 'missing_time') AS missing_time,
  COUNTIF(dropped = 'end_before_start') AS end_before_start,
  COUNTIF(dropped = 'seconds_not_positive') AS seconds_not_positive,
  COUNTIF(dropped = 'too_many_seconds') AS too_many_seconds,
  COUNTIF(dropped = 'seconds_disagree') AS seconds_disagree,
  COUNTIF(dropped = 'missing_fare') AS missing_fare,
  COUNTIF(dropped = 'fare_not_positive') AS fare_not_positive,
  COUNTIF(dropped = 'fare_too_high') AS fare_too_high,
  COUNTIF(dropped = 'negative_distance') AS negative_distance,
  COUNTIF(dropped = 'distance_too_long') AS distance_too_long,
  COUNTIF(dropped IS NULL) - COUNT(DISTINCT IF(dropped IS NULL, trip_id, NULL)) AS duplicate_id
FROM trips
