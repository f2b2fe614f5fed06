"""What every face asks: plain questions to the store with typed answers, the same for the API, pages and alerts."""
