"""Import of labelled image sets from folders and parquet files."""
