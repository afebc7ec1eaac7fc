CAST(FORMAT('%.6f', IFNULL(${name}, -1.0)) AS ${float}) AS ${name}
