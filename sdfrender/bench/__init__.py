"""The command `sdfrender bench`: how fast the engines are beside each other and beside peers."""
