-- One row: when the newest trip of the window's test months starts, NULL without any.
SELECT MAX(trip_start_timestamp) AS newest
FROM `${table}`
WHERE trip_start_timestamp >= @test_start AND trip_start_timestamp < @scan_end
