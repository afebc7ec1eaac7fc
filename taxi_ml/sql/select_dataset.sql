CREATE OR REPLACE TABLE `${table}` AS
-- One window of a table that has the dataset's columns already.
WITH trips AS (
${trips}
)
SELECT
  trip_id,
  TripStartYear,
  TripStartMonth,
  TripStartDay,
  TripStartHour,
  TripStartMinute,
  pickup_census_tract,
  dropoff_census_tract,
  fare,
  historical_tripDuration,
  histOneWeek_tripDuration,
  historical_tripDistance,
  histOneWeek_tripDistance,
  rawDistance,
  trip_start_timestamp
FROM trips
WHERE dropped IS NULL
-- Of trips with the same id the latest stays; the other columns make the choice the same in every run.
QUALIFY ROW_NUMBER() OVER (
  PARTITION BY trip_id
  ORDER BY
    trip_start_timestamp DESC, fare, pickup_census_tract, dropoff_census_tract, rawDistance,
    historical_tripDuration, histOneWeek_tripDuration, historical_tripDistance, histOneWeek_tripDistance,
    TripStartYear, TripStartMonth, TripStartDay, TripStartHour, TripStartMinute
) = 1
