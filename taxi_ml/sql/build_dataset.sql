-- One window's trips with what was known before each of them.
CREATE OR REPLACE TABLE `${table}` AS
WITH
trips AS (
${trips}
),
kept AS (
  SELECT
    *,
    -- A NULL joins nothing, but an unknown area has averages too.
    IFNULL(pickup_census_tract, -1) AS pickup_area,
    IFNULL(dropoff_census_tract, -1) AS dropoff_area
  FROM trips
  WHERE dropped IS NULL
  -- Of trips with the same id the latest stays; the other columns make the choice the same in every run.
  QUALIFY ROW_NUMBER() OVER (
    PARTITION BY trip_id
    ORDER BY
      trip_start_timestamp DESC, trip_end_timestamp DESC, trip_seconds, trip_millimiles, fare,
      pickup_census_tract, dropoff_census_tract, rawDistance, pickup_x, pickup_y,
      dropoff_x, dropoff_y
  ) = 1
),
-- One row for each pair of areas and moment at which its trips start or end, with the sums of those that end.
-- Windows over these narrow rows, which are quarters of an hour in the public table, stay small however many
-- trips share a pair; windows over the trips would sort all of them, and a busy pair on one machine.
moments AS (
  SELECT
    pickup_area,
    dropoff_area,
    UNIX_MICROS(IF(is_start, trip_start_timestamp, trip_end_timestamp)) AS at_micros,
    COUNTIF(NOT is_start) AS ended,
    SUM(IF(is_start, 0, trip_seconds)) AS ended_seconds,
    COUNT(IF(is_start, NULL, trip_millimiles)) AS measured,
    SUM(IF(is_start, NULL, trip_millimiles)) AS ended_millimiles
  FROM kept
  CROSS JOIN UNNEST([TRUE, FALSE]) AS is_start
  -- A trip before the window asks for no averages.
  WHERE NOT is_start OR trip_start_timestamp >= @train_start
  GROUP BY pickup_area, dropoff_area, at_micros
),
averages AS (
  SELECT
    pickup_area,
    dropoff_area,
    at_micros,
    SAFE_DIVIDE(SUM(ended_seconds) OVER history, SUM(ended) OVER history) AS historical_tripDuration,
    SAFE_DIVIDE(SUM(ended_seconds) OVER one_week, SUM(ended) OVER one_week) AS histOneWeek_tripDuration,
    SAFE_DIVIDE(SUM(ended_millimiles) OVER history, SUM(measured) OVER history) / 1000
      AS historical_tripDistance,
    SAFE_DIVIDE(SUM(ended_millimiles) OVER one_week, SUM(measured) OVER one_week) / 1000
      AS histOneWeek_tripDistance
  FROM moments
  WINDOW
    -- Frames end a microsecond before the trip starts and have the same length for every trip, so that a trip
    -- has the same averages in every window. What is still on the road then cannot be seen.
    history AS (
      PARTITION BY pickup_area, dropoff_area
      ORDER BY at_micros
      RANGE BETWEEN ${history_micros} PRECEDING AND 1 PRECEDING
    ),
    one_week AS (
      PARTITION BY pickup_area, dropoff_area
      ORDER BY at_micros
      RANGE BETWEEN ${week_micros} PRECEDING AND 1 PRECEDING
    )
)
SELECT
  trip_id,
  -- The timestamps are Chicago's wall clock stored as UTC: parts in UTC are the local ones.
  EXTRACT(YEAR FROM trip_start_timestamp) AS TripStartYear,
  EXTRACT(MONTH FROM trip_start_timestamp) AS TripStartMonth,
  EXTRACT(DAY FROM trip_start_timestamp) AS TripStartDay,
  EXTRACT(HOUR FROM trip_start_timestamp) AS TripStartHour,
  EXTRACT(MINUTE FROM trip_start_timestamp) AS TripStartMinute,
  pickup_census_tract,
  dropoff_census_tract,
  fare,
  historical_tripDuration,
  histOneWeek_tripDuration,
  historical_tripDistance,
  histOneWeek_tripDistance,
  rawDistance,
  pickup_x,
  pickup_y,
  dropoff_x,
  dropoff_y,
  trip_start_timestamp
FROM kept
-- Each trip meets the one row of its pair and start.
JOIN averages
  ON averages.pickup_area = kept.pickup_area
  AND averages.dropoff_area = kept.dropoff_area
  AND averages.at_micros = UNIX_MICROS(kept.trip_start_timestamp)
WHERE trip_start_timestamp >= @train_start
