"""Eager against deferred dispatch: when should a free replica begin the next batch?"""
