CREATE SCHEMA IF NOT EXISTS `${dataset}`
-- It is made in the location that the job runs in.
