"""Run the command line as `python -m appliance.cli`."""

from appliance.cli.app import main

main()
