"""The configuration: its schema, the reader of the file, secrets. Rules between keys are in checks/."""
