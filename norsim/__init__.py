"""norsim: the accuracy a network keeps when NOR-flash currents do its multiply-accumulates."""
