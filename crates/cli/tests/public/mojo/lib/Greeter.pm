package Greeter;
use Mojo::Base 'Mojolicious', -signatures;

our $VERSION = '1.01';

sub startup ($self) {
    $self->secrets(['none']);
    $self->log->level('fatal');
    $self->routes->get('/hello/:name' => sub ($c) { $c->render(text => 'hello ' . $c->param('name') . "\n") });
}

1;
