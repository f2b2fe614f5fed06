.PHONY: lint fmt test bench soak

lint:
	./run lint

fmt:
	./run fmt

test:
	./run tests

bench:
	./run bench

soak:
	./run soak
