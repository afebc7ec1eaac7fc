  -- One row for each trip of the scanned months, with the first reason to leave it out, or NULL.
  SELECT
    unique_key AS trip_id,
    trip_start_timestamp,
    trip_end_timestamp,
    fare,
    COALESCE(pickup_census_tract, pickup_community_area) AS pickup_census_tract,
    COALESCE(dropoff_census_tract, dropoff_community_area) AS dropoff_census_tract,
    pickup_longitude,
    pickup_latitude,
    dropoff_longitude,
    dropoff_latitude,
    trip_seconds,
    -- A meter that recorded no distance says 0 miles. Averages of integers do not depend on the order of rows.
    NULLIF(SAFE_CAST(ROUND(trip_miles * 1000) AS INT64), 0) AS trip_millimiles,
    CASE
      WHEN unique_key IS NULL THEN 'missing_id'
      WHEN trip_end_timestamp IS NULL OR trip_seconds IS NULL THEN 'missing_time'
      WHEN trip_end_timestamp < trip_start_timestamp THEN 'end_before_start'
      WHEN trip_seconds <= 0 THEN 'seconds_not_positive'
      WHEN trip_seconds > @max_seconds THEN 'too_many_seconds'
      -- Both timestamps are rounded to a quarter of an hour, so that they may disagree by that much.
      WHEN ABS(TIMESTAMP_DIFF(trip_end_timestamp, trip_start_timestamp, SECOND) - trip_seconds)
        > @max_disagreement THEN 'seconds_disagree'
      WHEN fare IS NULL THEN 'missing_fare'
      WHEN NOT fare > 0 THEN 'fare_not_positive'
      WHEN NOT fare < @max_fare THEN 'fare_too_high'
      WHEN trip_miles < 0 THEN 'negative_distance'
      WHEN NOT IFNULL(trip_miles, 0) <= @max_miles THEN 'distance_too_long'
    END AS dropped
  FROM `${trips_table}`
  WHERE trip_start_timestamp >= @scan_start AND trip_start_timestamp < @scan_end
