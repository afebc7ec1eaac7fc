      -- Metres east and north of a corner southwest of Chicago, on a plane; unknown outside of a box around the city,
      -- which 0,0 is as well.
      IF(
        ${place}_longitude BETWEEN @west AND @east AND ${place}_latitude BETWEEN @south AND @north,
        (${place}_longitude - @west) * @metres_of_longitude,
        NULL
      ) AS ${place}_x,
      IF(
        ${place}_longitude BETWEEN @west AND @east AND ${place}_latitude BETWEEN @south AND @north,
        (${place}_latitude - @south) * @metres_of_latitude,
        NULL
      ) AS ${place}_y
