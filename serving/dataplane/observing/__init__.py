"""What somebody else answered: copies of requests and answers, joined, and recorded like ours."""
