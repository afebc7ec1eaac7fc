CREATE OR REPLACE TABLE `${table}` AS
-- One window of a table that has the dataset's columns already.
WITH trips AS (
${trips}
)
SELECT
  trip_id,
  ${columns},
  trip_start_timestamp
FROM trips
WHERE dropped IS NULL
-- Of trips with the same id the latest stays; the other columns make the choice the same in every run.
QUALIFY ROW_NUMBER() OVER (
  PARTITION BY trip_id
  ORDER BY
    trip_start_timestamp DESC,
    ${columns}
) = 1
