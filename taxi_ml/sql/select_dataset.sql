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
