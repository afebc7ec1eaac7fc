  -- One row for each row of a table that has the dataset's columns already, with the first reason to leave it
  -- out, or NULL. Its averages are taken as they are.
  SELECT
    CAST(trip_id AS STRING) AS trip_id,
    ${columns},
    trip_start_timestamp,
    FALSE AS impossible_coordinates,
    CASE
      WHEN IFNULL(TRIM(CAST(trip_id AS STRING)), '') = '' THEN 'missing_id'
      WHEN historical_tripDuration < 0 OR histOneWeek_tripDuration < 0 THEN 'seconds_not_positive'
      WHEN historical_tripDuration > @max_seconds OR histOneWeek_tripDuration > @max_seconds
        THEN 'too_many_seconds'
      WHEN fare IS NULL THEN 'missing_fare'
      WHEN NOT fare > 0 THEN 'fare_not_positive'
      WHEN NOT fare < @max_fare THEN 'fare_too_high'
      WHEN historical_tripDistance < 0 OR histOneWeek_tripDistance < 0 OR rawDistance < 0
        THEN 'negative_distance'
      WHEN rawDistance > @max_metres THEN 'distance_too_long'
    END AS dropped
  FROM `${source_table}`
  WHERE trip_start_timestamp >= @scan_start AND trip_start_timestamp < @scan_end
