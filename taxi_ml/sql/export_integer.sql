CAST(IFNULL(${name}, 0) AS INT64) AS ${name}
