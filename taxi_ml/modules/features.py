"""The columns of the dataset by how the model reads them."""

LABEL = "fare"
"""USD; the model predicts it and never reads it."""

IDENTIFIER = "trip_id"
TIMESTAMP = "trip_start_timestamp"
"""Unix seconds of the trip's local wall clock."""

CALENDAR = ("TripStartYear", "TripStartMonth", "TripStartDay", "TripStartHour", "TripStartMinute")
AREAS = ("pickup_census_tract", "dropoff_census_tract")
"""A census tract, or the community area if the tract is unknown; 0 if both are."""

CATEGORIES = (*AREAS, "TripStartMonth", "TripStartHour")
"""Integers that are read as ids; year, day and minute are not, since ids of them were memorised."""

COORDINATES = ("pickup_x", "pickup_y", "dropoff_x", "dropoff_y")
"""Metres east and north of a corner southwest of Chicago."""
DISTANCE = "rawDistance"
"""Metres as the crow flies."""

NULLABLE_FLOATS = (
    "historical_tripDuration",
    "histOneWeek_tripDuration",
    "historical_tripDistance",
    "histOneWeek_tripDistance",
    "rawDistance",
    *COORDINATES,
)
"""Seconds, seconds, miles, miles and metres, never negative; read plain, as logarithms, and as flags.

Of coordinates the network reads the place of the pick-up and the distance along the streets from there.
"""
HISTORY = tuple(name for name in NULLABLE_FLOATS if name not in (DISTANCE, *COORDINATES))

MISSING = -1.0
"""The value of a nullable float that is unknown."""

INPUTS = (*CALENDAR, *AREAS, *NULLABLE_FLOATS, TIMESTAMP)
"""All columns of the dataset except the identifier and the label."""

NUMBERS = "numbers"
"""Transformed: standardised averages, plain and as logarithms, and the day; missing values become 0, the mean
after scaling."""
DAY = 2 * len(HISTORY)
"""The place of the day among the numbers."""
DISTANCES = "distances"
"""Transformed: standardised distances, the beeline and that along the streets, plain and then as logarithms;
from above 0 on the fare never falls as they rise."""
PLACES = "places"
"""Transformed: standardised coordinates of the pick-up; 0 if unknown."""
ABSENT = "absent"
"""Transformed: one flag for each nullable float, 1 if it is missing."""
SAME_PLACE = "same_place"
"""Transformed: a flag that is 1 if the distance is 0, as it is where both ends lie in one tract or area: that
is not how far the trip goes, so that its fare may be higher than that of a short distance."""
CYCLES = "cycles"
"""Transformed: sines and cosines of the hour, the weekday and the month."""
AREA_IDS = "area_ids"
"""Transformed: ids of the areas."""
CALENDAR_IDS = "calendar_ids"
"""Transformed: ids of the other categories and the weekday."""

RAW = "raw"
"""Transformed: the columns of `RAW_NAMES` as they are, from which the Trainer learns the model's domain."""
RAW_NAMES = (*NULLABLE_FLOATS, TIMESTAMP)

TRANSFORMED = (NUMBERS, DISTANCES, PLACES, ABSENT, SAME_PLACE, CYCLES, AREA_IDS, CALENDAR_IDS)

VOCABULARY = "categories"
"""The vocabulary that all ids share."""

PROFILED = {
    **{name: (NUMBERS, len(HISTORY) + index, ABSENT, index) for index, name in enumerate(HISTORY)},
    DISTANCE: (DISTANCES, 2, ABSENT, NULLABLE_FLOATS.index(DISTANCE)),
    **{
        name: (PLACES, index, ABSENT, NULLABLE_FLOATS.index(name))
        for index, name in enumerate(COORDINATES[:2])
    },
    **{name: (AREA_IDS, index) for index, name in enumerate(AREAS)},
    **{name: (CALENDAR_IDS, index) for index, name in enumerate((*CATEGORIES[len(AREAS) :], "weekday"))},
}
"""The place of each feature in the transformed columns: column and index of a category, or those of a
number's logarithm, or of a coordinate of the pick-up, followed by those of its flag. The label is profiled as
well, by its tenths."""
