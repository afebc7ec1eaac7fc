-- One row for each day of the window on which a trip starts.
SELECT DISTINCT DATE(trip_start_timestamp) AS day
FROM `${table}`
ORDER BY day
