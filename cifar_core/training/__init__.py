"""Everything that needs Keras. Started as a process of its own, imported by nothing outside this folder."""
