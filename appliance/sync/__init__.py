"""What comes to the box from outside its hospital's images: versions of models, proved before they serve."""
