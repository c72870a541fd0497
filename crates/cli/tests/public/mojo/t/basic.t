use Mojo::Base -strict;
use Test::More;
use Test::Mojo;

Test::Mojo->new('Greeter')->get_ok('/hello/perl')->status_is(200)->content_is("hello perl\n");
done_testing;
