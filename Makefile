.PHONY: lint fmt test bench

lint:
	./run lint

fmt:
	./run fmt

test:
	./run tests

bench:
	./run bench
