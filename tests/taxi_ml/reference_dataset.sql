-- The averages of build_dataset.sql by windows over every start and every end of a trip, without sums by moment: the
-- reference of its results, and the baseline of benchmarks/build_dataset.py.
CREATE OR REPLACE TABLE `${table}` AS
WITH
trips AS (
${trips}
),
kept AS (
  SELECT *
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
-- Each trip twice: where it starts it asks for the averages, where it ends it adds to them. Only what ended
-- before a start can be seen from it, whatever was on the road at the same time.
events AS (
  SELECT
    kept.*,
    is_start,
    UNIX_MICROS(IF(is_start, trip_start_timestamp, trip_end_timestamp)) AS at_micros,
    IF(is_start, NULL, trip_seconds) AS ended_seconds,
    IF(is_start, NULL, trip_millimiles) AS ended_millimiles
  FROM kept
  CROSS JOIN UNNEST([TRUE, FALSE]) AS is_start
),
averages AS (
  SELECT
    events.*,
    AVG(ended_seconds) OVER history AS historical_tripDuration,
    AVG(ended_seconds) OVER one_week AS histOneWeek_tripDuration,
    AVG(ended_millimiles) OVER history / 1000 AS historical_tripDistance,
    AVG(ended_millimiles) OVER one_week / 1000 AS histOneWeek_tripDistance
  FROM events
  WINDOW
    -- Frames end a microsecond before the trip starts and have the same length for every trip, so that a trip
    -- has the same averages in every window.
    history AS (
      PARTITION BY pickup_census_tract, dropoff_census_tract
      ORDER BY at_micros
      RANGE BETWEEN ${history_micros} PRECEDING AND 1 PRECEDING
    ),
    one_week AS (
      PARTITION BY pickup_census_tract, dropoff_census_tract
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
FROM averages
WHERE is_start AND trip_start_timestamp >= @train_start
