"""Who is told of incidents: a queue that outlives the process, and what each receiver reads."""
