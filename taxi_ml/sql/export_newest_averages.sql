EXPORT DATA OPTIONS (uri = '${uri}', overwrite = true, format = 'CSV', header = true) AS
-- One row for each pair of areas of a table that came with averages: those of the pair's newest trip. Averages over a
-- week are unknown if that trip started before the window's last week, since no trip has followed it.
WITH averages AS (
  SELECT
    pickup_census_tract,
    dropoff_census_tract,
    historical_tripDuration,
    IF(trip_start_timestamp >= @week_start, histOneWeek_tripDuration, NULL) AS histOneWeek_tripDuration,
    historical_tripDistance,
    IF(trip_start_timestamp >= @week_start, histOneWeek_tripDistance, NULL) AS histOneWeek_tripDistance
  FROM `${table}`
  WHERE trip_start_timestamp >= @history_start AND trip_start_timestamp < @scan_end
  -- Trips that start at the same time have the same averages, if they are of what was known then.
  QUALIFY ROW_NUMBER() OVER (
    PARTITION BY IFNULL(pickup_census_tract, 0), IFNULL(dropoff_census_tract, 0)
    ORDER BY trip_start_timestamp DESC, trip_id
  ) = 1
)
SELECT
  ${columns}
FROM averages
