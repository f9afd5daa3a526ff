"""The configuration that `readside init` writes: sound as it stands, every choice explained."""

TEMPLATE = """\
# Readside: the configuration of one box. Check it with `readside check-config FILE`.

[site]
name = "Example Hospital"

# The box's own application entity. The PACS sends to this AE title, host and port.
[dicom]
ae_title = "READSIDE"
host = "0.0.0.0"
port = 11112
max_associations = 16
# commit = true           # commit to peers that ask (storage commitment) what is kept, until it is purged

# DICOM under TLS, with certificates on both sides (docs/pacs.md). With it the port above is closed, unless
# plain = true. New files are taken up without a restart.
# [dicom.tls]
# certificate = "/etc/readside/dicom.pem"
# key = "/etc/readside/dicom.key"
# ca = "/etc/readside/dicom-ca.pem"
# port = 2762
# plain = false

# Who may talk to the box. An AE title that is not listed here is rejected.
# may:     "store" lets the peer send studies; "query" lets the box ask it how many images a study has;
#          "notify" lets it say which images belong to a study (IAN, MPPS): docs/pacs.md says who should.
# outputs: what this peer gets of a result:
#   "sr"             report with measurements and regions
#   "sr-cornerstone" the same for viewers built on OHIF, with contours that they turn into measurements
#   "seg"            overlay of regions, each voxel in or out
#   "seg-fractional" overlay of regions with the model's own probability, where it gives one
#   "seg-labelmap"   overlay of regions as one map of numbers; few viewers open it yet
#   "gsps"           the regions as vector marks, for viewers of the classic kind
#   "sc"             pictures with burnt-in overlay, which every viewer shows
#   "text-sr"        a page of text, for viewers that show nothing else
#   "pdf"            one page to print or file
#   "pmap"           heat map, where the model gives one
#   "kos"            a selection of the images that matter
#   "iocm"           a note that rejects the former result once a new one has arrived
# The box asks each peer which of these it takes, at start and every day: `readside peers` shows the answers.
# For what a peer does not take, it gets what shows the same: "gsps" or "sc" for "seg", say.
# A page that says why there is no result is sent whatever is chosen here.
[[peers]]
name = "pacs"
ae_title = "PACS"
host = "192.0.2.10"
port = 104
may = ["store", "query"]
outputs = ["sr", "seg", "sc"]
# commitment = true      # a delivery is done once this peer has committed it (storage commitment), not before
# retrieve = "get"       # studies are fetched by C-GET; without it by C-MOVE
# dicomweb = "https://pacs.example/dicom-web"   # results go there by STOW-RS
# dicomweb_token = "/etc/readside/pacs.token"
# tls = true             # nothing goes to this peer, or is taken from it, in the clear
# certificate_sha256 = "..."   # its certificate's fingerprint; without it the certificate must name the peer
# user = "readside"      # the user that the box names to it; with tls also user_passcode = "FILE"
# shows_user = "pacs"    # the user that it has to name to the box; with tls also shows_user_passcode = "FILE"

# Everything the box keeps. Receiving stops, with status A700, before less than floor_gib is free.
# Images of finished studies are removed after retain_days, their results after retain_results_days.
[storage]
root = "{root}"
floor_gib = 5.0
retain_days = 7.0
retain_results_days = 365.0

# Empty: SQLite under the storage root. Several boxes share one PostgreSQL: "postgresql://user@host/name".
[ledger]
url = ""

# A study is complete when nothing arrived for quiet_seconds (and for series_quiet_seconds in each series),
# or at once when the peer named in confirm_with says that it has no more images than the box,
# or when all that peers with "notify" named is here; at the latest deadline_seconds after its first image.
[assembly]
quiet_seconds = 60
series_quiet_seconds = 30
deadline_seconds = 3600
# confirm_with = "pacs"

# Engines to try, best first: "tensorrt", "cuda", "openvino", "kserve" (a server elsewhere), "cpu".
# One that is not installed, has no device here, or does not answer as the CPU does is passed over, and every
# result says so; "cpu" works everywhere. `readside doctor --hardware-selftest` tries them all.
[inference]
engines = ["cpu"]
threads = 0            # of one call on the processor; 0 uses every core
devices = [0]          # the number of the GPU
# memory_gib = 12      # what all loaded models together may take; without it, what the machine has
# pinned = ["my-model"]  # models that stay loaded whatever else is asked for
jobs_at_once = 1       # series worked on side by side; more than one lets a GPU batch across studies
batch_wait_ms = 5      # how long a call may wait for others to join it, when several jobs run
ahead = true           # work on studies while they arrive; false on a device short of memory (up to 3 GiB)
# kserve = ["grpc://192.0.2.20:8001"]   # servers of the Open Inference Protocol, for the engine "kserve"

# Folders of your own model packages. Those that ship with Readside are always there: `readside model list`.
[models]
folders = []

# Which series goes to which model. `when` is an expression over the series' DICOM attributes by keyword,
# and over
# what the box measured: slices, slice_spacing_mm, regular, gantry_tilt_degrees, orientation, frames.
# mode = "shadow" runs the model and sends nothing.
[[routes]]
name = "commissioning"
when = 'Modality == "CT" && slices >= 3'
model = "ct-tissue-bands"
send_to = ["pacs"]
mode = "release"
priority = 5
# Compares with the patient's earlier studies, from peers with may = ["store", "query"] (docs/pacs.md).
# The study's job waits for them, so long and no longer. Results of what was fetched are not sent.
# [routes.priors]
# count = 1
# within_days = 1095
# wait_seconds = 300     # longer than quiet_seconds: what was fetched has to fall quiet too
# when = 'StudyDescription.contains("HEAD")'   # what a peer says of a study; empty: any of the same modality
# ask = ["pacs"]         # empty: every peer that may be asked
# send = false

# Asks these peers every hour what they have of the last day, and fetches by itself what never arrived here.
# Each needs may = ["store", "query"], and must know this box as a destination of C-MOVE.
# [reconcile]
# peers = ["pacs"]
# modalities = ["CT"]    # what the PACS should have forwarded; empty: everything
# every_minutes = 60
# hours_back = 24        # by the date of the study
# grace_minutes = 15     # what is on its way anyway is not fetched before this

# A worklist (UPS-RS, IHE AIW-I) that says which studies are to be analysed (docs/pacs.md). The box claims its
# workitems, fetches what they name from the peer with that AE title, and completes them with the results.
# [worklist]
# url = "https://worklist.example/dicom-web"   # /workitems follows
# token = "/etc/readside/worklist.token"
# poll_seconds = 30
# station = "READSIDE-1^99HOSP"   # this box among the scheduled stations: code^scheme
# [[worklist.items]]
# code = "CT-CHEST^99HOSP"        # Scheduled Workitem Code, and the route whose answer it waits for
# route = "commissioning"

# A port on which studies are stored by STOW-RS (docs/pacs.md). `readside token` makes a token and its digest.
# [dicomweb]
# host = "127.0.0.1"     # beyond this machine it needs [dicomweb.tls], or plain = true
# port = 8043
# [[dicomweb.clients]]
# name = "archive"
# token_sha256 = "..."

# Who did what with which study: kept here, and sent to an audit repository if one is named (docs/audit.md).
# [audit]
# host = "audit.example"
# ca = "/etc/readside/audit-ca.pem"

# Where signed releases of models come from (docs/registry.md). `readside registry claim` makes what lies in
# roots.
# [registry]
# url = "https://models.example/readside"
# device = "box-1"
# roots = "/etc/readside/registry"
# every_seconds = 300
# Copies inside the hospital, a rate, who may have made a model, bundles from sticks (docs/sticks.md).
# mirrors = ["http://copy.hospital.example/readside"]
# bytes_per_second_max = 2000000
# provenance = ["/etc/readside/makers/lab.pub.pem"]
# bundles = true
# When another version may begin to serve, by the clocks of site.time_zone; whether a person is asked first.
# windows = ["Mon-Fri 22:00-05:00"]
# consent = true
# Which numbers the registry is told, never patient data (docs/telemetry.md): "off", "health", "health+drift".
# telemetry = "health"

# Whom the box tells when something is wrong with it, besides its console and its metrics; no patient data.
# [alerts]
# webhook = "https://chat.example/hook"    # takes JSON
# mail_host = "mail.example"
# mail_from = "readside@hospital.example"
# mail_to = ["imaging-it@hospital.example"]
# remind_hours = 24

# The pages for people. Patient data needs a log-in; there is no default password.
[console]
host = "127.0.0.1"
port = 8042
# Opens a study in your own viewer, from its page here. {{study_uid}} and {{accession_number}} are filled in.
# viewer_link = "https://viewer.example/viewer?StudyInstanceUIDs={{study_uid}}"

[[console.users]]
name = "{user}"
password_hash = "{password_hash}"
"""
