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

NULLABLE_FLOATS = (
    "historical_tripDuration",
    "histOneWeek_tripDuration",
    "historical_tripDistance",
    "histOneWeek_tripDistance",
    "rawDistance",
)
"""Seconds, seconds, miles, miles and metres, never negative; read plain, as logarithms, and as flags."""

MISSING = -1.0
"""The value of a nullable float that is unknown."""

INPUTS = (*CALENDAR, *AREAS, *NULLABLE_FLOATS, TIMESTAMP)
"""All columns of the dataset except the identifier and the label."""

NUMBERS = "numbers"
"""Transformed: standardised numbers; missing values become 0, the mean after scaling."""
ABSENT = "absent"
"""Transformed: one flag for each nullable float, 1 if it is missing."""
CYCLES = "cycles"
"""Transformed: sines and cosines of the hour, the weekday and the month."""
AREA_IDS = "area_ids"
"""Transformed: ids of the areas."""
CALENDAR_IDS = "calendar_ids"
"""Transformed: ids of the other categories and the weekday."""

TRANSFORMED = (NUMBERS, ABSENT, CYCLES, AREA_IDS, CALENDAR_IDS)

VOCABULARY = "categories"
"""The vocabulary that all ids share."""

PROFILED = {
    **{
        name: (NUMBERS, len(NULLABLE_FLOATS) + index, ABSENT, index)
        for index, name in enumerate(NULLABLE_FLOATS)
    },
    **{name: (AREA_IDS, index) for index, name in enumerate(AREAS)},
    **{name: (CALENDAR_IDS, index) for index, name in enumerate((*CATEGORIES[len(AREAS) :], "weekday"))},
}
"""The place of each feature in the transformed columns: column and index of a category, or those of a
number's logarithm followed by those of its flag."""
