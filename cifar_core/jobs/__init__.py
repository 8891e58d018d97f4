"""Background processes: started, stopped and resumed independently of the page and the server."""
