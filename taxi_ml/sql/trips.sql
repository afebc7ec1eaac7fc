  -- One row for each trip of the scanned months, with the first reason to leave it out, or NULL.
  SELECT
    *,
    located AND rawDistance IS NULL AS impossible_coordinates,
    CASE
      WHEN IFNULL(TRIM(trip_id), '') = '' THEN 'missing_id'
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
      WHEN NOT IFNULL(trip_miles, 0) <= @max_miles OR rawDistance > @max_metres THEN 'distance_too_long'
    END AS dropped
  FROM (
    SELECT
      CAST(unique_key AS STRING) AS trip_id,
      trip_start_timestamp,
      trip_end_timestamp,
      fare,
      COALESCE(pickup_census_tract, pickup_community_area) AS pickup_census_tract,
      COALESCE(dropoff_census_tract, dropoff_community_area) AS dropoff_census_tract,
      trip_seconds,
      trip_miles,
      -- A meter that recorded no distance says 0 miles. Averages of integers do not depend on the order of rows.
      NULLIF(SAFE_CAST(ROUND(trip_miles * 1000) AS INT64), 0) AS trip_millimiles,
      pickup_longitude IS NOT NULL AND pickup_latitude IS NOT NULL
        AND dropoff_longitude IS NOT NULL AND dropoff_latitude IS NOT NULL AS located,
      -- Metres on a sphere. A latitude that does not exist would fail the whole statement; 0,0 lies in the Atlantic
      -- and is what a receiver without a position writes.
      IF(
        ABS(pickup_latitude) <= 90 AND ABS(pickup_longitude) <= 180
          AND NOT (pickup_latitude = 0 AND pickup_longitude = 0)
          AND ABS(dropoff_latitude) <= 90 AND ABS(dropoff_longitude) <= 180
          AND NOT (dropoff_latitude = 0 AND dropoff_longitude = 0),
        ST_DISTANCE(
          ST_GEOGPOINT(pickup_longitude, pickup_latitude),
          ST_GEOGPOINT(dropoff_longitude, dropoff_latitude)
        ),
        NULL
      ) AS rawDistance,
${coordinates}
    FROM `${trips_table}`
    WHERE trip_start_timestamp >= @scan_start AND trip_start_timestamp < @scan_end
  )
