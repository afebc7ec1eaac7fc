EXPORT DATA OPTIONS (uri = '${uri}', overwrite = true, format = 'CSV', header = true) AS
-- One row for each pair of areas, with the averages that build_dataset.sql would give to a trip that starts when the
-- window ends. Trips on the road then have not ended and do not count. The formats are those of the splits, so that a
-- trip that is quoted with these averages is read as one that was trained on.
WITH
trips AS (
${trips}
),
kept AS (
  SELECT *
  FROM trips
  WHERE dropped IS NULL
  -- Of trips with the same id the one that build_dataset.sql keeps.
  QUALIFY ROW_NUMBER() OVER (
    PARTITION BY trip_id
    ORDER BY
      trip_start_timestamp DESC, trip_end_timestamp DESC, trip_seconds, trip_millimiles, fare,
      pickup_census_tract, dropoff_census_tract, rawDistance
  ) = 1
),
averages AS (
  SELECT
    IFNULL(pickup_census_tract, 0) AS pickup_census_tract,
    IFNULL(dropoff_census_tract, 0) AS dropoff_census_tract,
    AVG(trip_seconds) AS historical_tripDuration,
    AVG(IF(trip_end_timestamp >= @week_start, trip_seconds, NULL)) AS histOneWeek_tripDuration,
    AVG(trip_millimiles) / 1000 AS historical_tripDistance,
    AVG(IF(trip_end_timestamp >= @week_start, trip_millimiles, NULL)) / 1000 AS histOneWeek_tripDistance
  FROM kept
  WHERE trip_end_timestamp >= @history_start AND trip_end_timestamp < @scan_end
  GROUP BY 1, 2
)
SELECT
  ${columns}
FROM averages
