"""Run the command line as `python -m appliance.cli`."""

from appliance.cli.entry import main

main()
