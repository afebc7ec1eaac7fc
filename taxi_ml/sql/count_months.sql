-- One row for each month with trips: its first day, its trips whose fare the dataset keeps, and the day of the newest.
SELECT
  DATE_TRUNC(DATE(trip_start_timestamp), MONTH) AS month,
  COUNTIF(fare > 0 AND fare < @max_fare) AS trips,
  MAX(DATE(trip_start_timestamp)) AS newest
FROM `${table}`
WHERE trip_start_timestamp >= @scan_start AND trip_start_timestamp < @scan_end
GROUP BY month
ORDER BY month
