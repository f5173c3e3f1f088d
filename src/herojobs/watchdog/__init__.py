"""The WatchDog: claims jobs, has workers run them under hard timeouts, and writes what becomes of them."""
