"""Write, check, grade, log and send what the judge wants."""
