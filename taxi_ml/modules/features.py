"""The columns of the dataset by the part they play."""

LABEL = "fare"
"""USD; what the model predicts and never sees."""

IDENTIFIER = "trip_id"
TIMESTAMP = "trip_start_timestamp"
"""Unix seconds of the trip's local wall clock."""

CALENDAR = ("TripStartYear", "TripStartMonth", "TripStartDay", "TripStartHour", "TripStartMinute")
AREAS = ("pickup_census_tract", "dropoff_census_tract")
"""A census tract, or the community area where the tract is unknown; 0 where both are."""

NULLABLE_FLOATS = (
    "historical_tripDuration",
    "histOneWeek_tripDuration",
    "historical_tripDistance",
    "histOneWeek_tripDistance",
    "rawDistance",
)
"""Seconds, seconds, miles, miles and metres; never negative."""

MISSING = -1.0
"""Stands for an absent value of a nullable float."""

INPUTS = (*CALENDAR, *AREAS, *NULLABLE_FLOATS, TIMESTAMP)
"""What the model reads: everything of the dataset but the identifier and the label."""

NUMBERS = "numbers"
"""Transformed: standardised numbers; an absent one is 0, which is the mean."""
ABSENT = "absent"
"""Transformed: one flag for each nullable float, 1 where it is absent."""
CYCLES = "cycles"
"""Transformed: sines and cosines of the hour, the weekday and the month."""
AREA_IDS = "area_ids"
"""Transformed: ids of the areas."""
CALENDAR_IDS = "calendar_ids"
"""Transformed: ids of the month, the hour and the weekday."""

TRANSFORMED = (NUMBERS, ABSENT, CYCLES, AREA_IDS, CALENDAR_IDS)

VOCABULARY = "categories"
"""The one vocabulary that all ids are of."""

PROFILED = {
    **{
        name: (NUMBERS, len(NULLABLE_FLOATS) + index, ABSENT, index)
        for index, name in enumerate(NULLABLE_FLOATS)
    },
    **{name: (AREA_IDS, index) for index, name in enumerate(AREAS)},
    **{
        name: (CALENDAR_IDS, index)
        for index, name in enumerate(("TripStartMonth", "TripStartHour", "weekday"))
    },
}
"""Where the transformed columns hold a feature: column and index of a category; of a number's logarithm and
of its flag for absence."""
